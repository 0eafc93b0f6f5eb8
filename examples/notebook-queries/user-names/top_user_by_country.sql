-- top_user_by_country.sql, but with the name of the post's user in place of the poster, from a join of all three
-- tables.
WITH people AS (
    SELECT
        geo.country,
        users.user_name,
        MAX(pin.follower_count) AS follower_count
    FROM pin
    INNER JOIN geo ON geo.ind = pin.ind
    INNER JOIN user AS users ON users.ind = pin.ind
    WHERE pin.follower_count IS NOT NULL
    GROUP BY geo.country, users.user_name
),

ranked AS (
    SELECT
        country,
        user_name,
        follower_count,
        RANK() OVER (PARTITION BY country ORDER BY follower_count DESC) AS place
    FROM people
)

SELECT
    country,
    user_name,
    follower_count
FROM ranked
WHERE place = 1
ORDER BY country ASC NULLS LAST, user_name ASC NULLS LAST, follower_count ASC
