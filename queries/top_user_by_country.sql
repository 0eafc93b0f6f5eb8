-- Who has the most followers in each country?
--
-- country         name of the country; posts without a country are one group (null)
-- poster_name     name of the poster; several rows when several tie; null when the name is unknown
-- follower_count  the poster's largest known number of followers in that country
--
-- A poster's follower count changes from post to post: the largest one counts. Unknown counts are ignored,
-- so a country without known counts has no row.
--
-- section: Followers and users
-- order: 7
-- title: User with the most followers by country
-- chart: bar x=country y=follower_count label=poster_name
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
