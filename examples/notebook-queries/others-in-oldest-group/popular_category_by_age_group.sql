-- popular_category_by_age_group.sql, but with users under 18 and of unknown age in the group +50, as notebooks do that
-- end their groups with otherwise() or ELSE.
WITH posts AS (
    SELECT
        CASE
            WHEN users.age BETWEEN 18 AND 24 THEN '18-24'
            WHEN users.age BETWEEN 25 AND 35 THEN '25-35'
            WHEN users.age BETWEEN 36 AND 50 THEN '36-50'
            ELSE '+50'
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
        RANK() OVER (PARTITION BY age_group ORDER BY category_count DESC) AS place
    FROM counted
)

SELECT
    age_group,
    category,
    category_count
FROM ranked
WHERE place = 1
ORDER BY age_group ASC, category ASC NULLS LAST, category_count ASC
