-- top_user_by_country.sql, but with the sum of the follower counts of a poster's posts in place of the largest. It
-- counts the same followers once for each post.
WITH posters AS (
    SELECT
        geo.country,
        pin.poster_name,
        SUM(pin.follower_count) AS follower_count
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
