-- popular_category_by_age_group.sql, but with one row for each age group: of tied rows the first by name. Notebooks
-- that use row_number(), first() or LIMIT show any one of them.
WITH posts AS (
    SELECT
        CASE
            WHEN users.age BETWEEN 18 AND 24 THEN '18-24'
            WHEN users.age BETWEEN 25 AND 35 THEN '25-35'
            WHEN users.age BETWEEN 36 AND 50 THEN '36-50'
            WHEN users.age > 50 THEN '+50'
        END AS age_group,
        pin.category
    FROM pin
    INNER JOIN user AS users ON users.ind = pin.ind
),

counted AS (
    SELECT
        age_group,
        category,
        COUNT(*) AS category_count
    FROM posts
    WHERE age_group IS NOT NULL
    GROUP BY age_group, category
),

ranked AS (
    SELECT
        age_group,
        category,
        category_count,
        ROW_NUMBER() OVER (PARTITION BY age_group ORDER BY category_count DESC, category ASC NULLS LAST) AS place
    FROM counted
)

SELECT
    age_group,
    category,
    category_count
FROM ranked
WHERE place = 1
ORDER BY age_group ASC, category ASC NULLS LAST, category_count ASC
