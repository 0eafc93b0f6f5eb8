-- top_user_by_country.sql, but with one row for each country: of tied rows the first by name. Notebooks that use
-- row_number(), first() or LIMIT show any one of them.
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
        ROW_NUMBER() OVER (PARTITION BY country ORDER BY follower_count DESC, poster_name ASC NULLS LAST) AS place
    FROM posters
)

SELECT
    country,
    poster_name,
    follower_count
FROM ranked
WHERE place = 1
ORDER BY country ASC NULLS LAST, poster_name ASC NULLS LAST, follower_count ASC
