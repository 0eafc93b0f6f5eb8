-- AdamBreeze1, cell 8: the lower median (percentile_approx at 0.5). For an even number of counts it is the smaller of
-- the middle two; our median is their mean.
WITH posts AS (
    SELECT
        CASE
            WHEN users.age BETWEEN 18 AND 24 THEN '18-24'
            WHEN users.age BETWEEN 25 AND 35 THEN '25-35'
            WHEN users.age BETWEEN 36 AND 50 THEN '36-50'
            WHEN users.age > 50 THEN '+50'
        END AS age_group,
        pin.follower_count
    FROM pin
    INNER JOIN user AS users ON users.ind = pin.ind
    WHERE pin.follower_count IS NOT NULL
),

placed AS (
    SELECT
        age_group,
        follower_count,
        ROW_NUMBER() OVER (PARTITION BY age_group ORDER BY follower_count) AS place,
        COUNT(*) OVER (PARTITION BY age_group) AS known
    FROM posts
)

SELECT
    age_group,
    follower_count AS median_follower_count
FROM placed
WHERE 2 * place IN (known, known + 1)
