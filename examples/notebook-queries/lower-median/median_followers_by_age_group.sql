-- median_followers_by_age_group.sql, but with the lower median: of an even number of counts the smaller of the middle
-- two, instead of their mean.
--
-- So does percentile_approx(follower_count, 0.5) of Spark for groups of up to 5,000 counts; beyond, it is off by up to
-- one rank in 10,000.
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
),

numbered AS (
    SELECT
        age_group,
        follower_count,
        ROW_NUMBER() OVER (PARTITION BY age_group ORDER BY follower_count ASC NULLS LAST) AS place,
        COUNT(follower_count) OVER (PARTITION BY age_group) AS known
    FROM posts
    WHERE age_group IS NOT NULL
)

SELECT
    age_group,
    MIN(CASE WHEN 2 * place IN (known, known + 1) THEN follower_count END) AS median_follower_count
FROM numbered
GROUP BY age_group
ORDER BY age_group ASC, median_follower_count ASC NULLS LAST
