-- Who has the most followers in each country?
--
-- country         name of the country; posts without a country form a group of their own (null)
-- poster_name     who posted; several rows when several tie; null when the poster's name is not known
-- follower_count  the largest number of followers known of that poster in that country
--
-- A poster's follower count changes from post to post: the largest one counts. Unknown counts are left
-- aside, so a country in which no count at all is known has no row.
WITH posters AS (
    SELECT
        geo.country,
        pin.poster_name,
        MAX(pin.follower_count) AS follower_count
    FROM pin
    INNER JOIN geo ON geo.ind = pin.ind
    WHERE pin.follower_count IS NOT NULL
    GROUP BY geo.country, pin.poster_name
),

ranked AS (
    SELECT
        country,
        poster_name,
        follower_count,
        RANK() OVER (PARTITION BY country ORDER BY follower_count DESC) AS place
    FROM posters
)

SELECT
    country,
    poster_name,
    follower_count
FROM ranked
WHERE place = 1
ORDER BY country ASC NULLS LAST, poster_name ASC NULLS LAST, follower_count ASC
