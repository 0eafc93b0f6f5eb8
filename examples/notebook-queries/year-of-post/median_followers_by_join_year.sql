-- median_followers_by_join_year.sql, but by the year of the post instead of the year in which its user joined.
WITH posts AS (
    SELECT
        EXTRACT(YEAR FROM geo.timestamp) AS post_year,
        pin.follower_count
    FROM pin
    INNER JOIN geo ON geo.ind = pin.ind
),

numbered AS (
    SELECT
        post_year,
        follower_count,
        ROW_NUMBER() OVER (PARTITION BY post_year ORDER BY follower_count ASC NULLS LAST) AS place,
        COUNT(follower_count) OVER (PARTITION BY post_year) AS known
    FROM posts
    WHERE post_year BETWEEN 2015 AND 2020
)

SELECT
    post_year,
    AVG(CASE WHEN 2 * place BETWEEN known AND known + 2 THEN follower_count END) AS median_follower_count
FROM numbered
GROUP BY post_year
ORDER BY post_year ASC, median_follower_count ASC NULLS LAST
