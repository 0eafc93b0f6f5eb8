-- median_followers_by_join_year.sql, but with the lower median: of an even number of counts the smaller of the middle
-- two, instead of their mean.
--
-- So does percentile_approx(follower_count, 0.5) of Spark for groups of up to 5,000 counts; beyond, it is off by up to
-- one rank in 10,000.
WITH posts AS (
    SELECT
        EXTRACT(YEAR FROM users.date_joined) AS join_year,
        pin.follower_count
    FROM pin
    INNER JOIN user AS users ON users.ind = pin.ind
),

numbered AS (
    SELECT
        join_year,
        follower_count,
        ROW_NUMBER() OVER (PARTITION BY join_year ORDER BY follower_count ASC NULLS LAST) AS place,
        COUNT(follower_count) OVER (PARTITION BY join_year) AS known
    FROM posts
    WHERE join_year BETWEEN 2015 AND 2020
)

SELECT
    join_year,
    MIN(CASE WHEN 2 * place IN (known, known + 1) THEN follower_count END) AS median_follower_count
FROM numbered
GROUP BY join_year
ORDER BY join_year ASC, median_follower_count ASC NULLS LAST
