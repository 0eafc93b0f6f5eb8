-- median_followers_by_join_year.sql for Athena, which has no MEDIAN and whose approx_percentile is not exact.
--
-- Numbers the known counts of a group in ascending order. The median is the mean of the counts at the numbers n with
-- total <= 2n <= total + 2: the middle one, or the middle two. It is null for a group without known counts.
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
    AVG(CASE WHEN 2 * place BETWEEN known AND known + 2 THEN follower_count END) AS median_follower_count
FROM numbered
GROUP BY join_year
ORDER BY join_year ASC, median_follower_count ASC NULLS LAST
