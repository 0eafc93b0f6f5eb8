-- AdamBreeze1, cell 10: the lower median (percentile_approx at 0.5). For an even number of counts it is the smaller of
-- the middle two; our median is their mean.
WITH posts AS (
    SELECT
        EXTRACT(YEAR FROM users.date_joined) AS year_joined,
        pin.follower_count
    FROM pin
    INNER JOIN user AS users ON users.ind = pin.ind
    WHERE pin.follower_count IS NOT NULL
),

placed AS (
    SELECT
        year_joined,
        follower_count,
        ROW_NUMBER() OVER (PARTITION BY year_joined ORDER BY follower_count) AS place,
        COUNT(*) OVER (PARTITION BY year_joined) AS known
    FROM posts
    WHERE year_joined BETWEEN 2015 AND 2020
)

SELECT
    year_joined,
    follower_count AS median_follower_count
FROM placed
WHERE 2 * place IN (known, known + 1)
