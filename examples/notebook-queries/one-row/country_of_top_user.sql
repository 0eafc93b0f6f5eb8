-- country_of_top_user.sql, but with one row: of tied countries the first by name. Notebooks that use LIMIT 1 show any
-- one of them.
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
        ROW_NUMBER() OVER (ORDER BY follower_count DESC, country ASC NULLS LAST) AS place
    FROM countries
)

SELECT
    country,
    follower_count
FROM ranked
WHERE place = 1
ORDER BY country ASC NULLS LAST, follower_count ASC
