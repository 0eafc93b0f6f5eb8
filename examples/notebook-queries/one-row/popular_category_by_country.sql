-- popular_category_by_country.sql, but with one row for each country: of tied rows the first by name. Notebooks that
-- use row_number(), first() or LIMIT show any one of them.
WITH counted AS (
    SELECT
        geo.country,
        pin.category,
        COUNT(*) AS category_count
    FROM pin
    INNER JOIN geo ON geo.ind = pin.ind
    GROUP BY geo.country, pin.category
),

ranked AS (
    SELECT
        country,
        category,
        category_count,
        ROW_NUMBER() OVER (PARTITION BY country ORDER BY category_count DESC, category ASC NULLS LAST) AS place
    FROM counted
)

SELECT
    country,
    category,
    category_count
FROM ranked
WHERE place = 1
ORDER BY country ASC NULLS LAST, category ASC NULLS LAST, category_count ASC
