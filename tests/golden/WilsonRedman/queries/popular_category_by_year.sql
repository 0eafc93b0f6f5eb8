-- WilsonRedman, cell 5: all years, including 2017. Our query is limited to 2018-2022.
WITH counted AS (
    SELECT
        EXTRACT(YEAR FROM geo.timestamp) AS year,
        pin.category,
        COUNT(*) AS category_count
    FROM pin
    INNER JOIN geo ON geo.ind = pin.ind
    GROUP BY EXTRACT(YEAR FROM geo.timestamp), pin.category
),

ranked AS (
    SELECT
        year,
        category,
        category_count,
        RANK() OVER (PARTITION BY year ORDER BY category_count DESC) AS place
    FROM counted
)

SELECT
    year,
    category,
    category_count
FROM ranked
WHERE place = 1
