-- popular_category_by_year.sql, but with one row for each year: of tied rows the first by name. Notebooks that use
-- row_number(), first() or LIMIT show any one of them.
WITH posts AS (
    SELECT
        EXTRACT(YEAR FROM geo.timestamp) AS post_year,
        pin.category
    FROM pin
    INNER JOIN geo ON geo.ind = pin.ind
),

counted AS (
    SELECT
        post_year,
        category,
        COUNT(*) AS category_count
    FROM posts
    WHERE post_year BETWEEN 2018 AND 2022
    GROUP BY post_year, category
),

ranked AS (
    SELECT
        post_year,
        category,
        category_count,
        ROW_NUMBER() OVER (PARTITION BY post_year ORDER BY category_count DESC, category ASC NULLS LAST) AS place
    FROM counted
)

SELECT
    post_year,
    category,
    category_count
FROM ranked
WHERE place = 1
ORDER BY post_year ASC, category ASC NULLS LAST, category_count ASC
