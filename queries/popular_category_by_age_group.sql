-- Which category is posted most often by users of each age group?
--
-- age_group       18-24, 25-35, 36-50 or +50 (51 and above); users under 18 or of unknown age are excluded
-- category        the group's most frequent category; several rows when several tie for first place
-- category_count  number of posts of that category by users of that group
--
-- A post is a row of pin, joined with the rows of user of the same number (ind).
--
-- section: Categories
-- order: 4
-- title: Most popular category by age group
-- chart: bar x=age_group y=category_count label=category unit=posts order=18-24,25-35,36-50,+50
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
