-- In which country is the user with the most followers?
--
-- country         name of the country; several rows when several countries tie;
--                 null when the post has no country
-- follower_count  the largest known number of followers
--
-- No row when no follower count is known.
--
-- section: Followers and users
-- order: 5
-- title: Country of the user with the most followers
-- chart: number x=country y=follower_count
WITH countries AS (
    SELECT
        geo.country,
        MAX(pin.follower_count) AS follower_count
    FROM pin
    INNER JOIN geo ON geo.ind = pin.ind
    WHERE pin.follower_count IS NOT NULL
    GROUP BY geo.country
),

ranked AS (
    SELECT
        country,
        follower_count,
        RANK() OVER (ORDER BY follower_count DESC) AS place
    FROM countries
)

SELECT
    country,
    follower_count
FROM ranked
WHERE place = 1
ORDER BY country ASC NULLS LAST, follower_count ASC
