-- median_followers_by_join_year.sql, but with 0 in place of unknown follower counts, as notebooks do that fill or cast
-- them. Unknown counts then lower the median; ours ignores them.
WITH posts AS (
    SELECT
        EXTRACT(YEAR FROM users.date_joined) AS join_year,
        COALESCE(pin.follower_count, 0) AS follower_count
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
