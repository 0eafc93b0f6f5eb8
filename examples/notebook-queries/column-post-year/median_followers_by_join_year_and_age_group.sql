-- median_followers_by_join_year_and_age_group.sql, but with the year of joining in a column post_year, as the old task
-- named it.
WITH posts AS (
    SELECT
        EXTRACT(YEAR FROM users.date_joined) AS post_year,
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
        post_year,
        age_group,
        follower_count,
        ROW_NUMBER() OVER (PARTITION BY post_year, age_group ORDER BY follower_count ASC NULLS LAST) AS place,
        COUNT(follower_count) OVER (PARTITION BY post_year, age_group) AS known
    FROM posts
    WHERE post_year BETWEEN 2015 AND 2020 AND age_group IS NOT NULL
)

SELECT
    post_year,
    age_group,
    AVG(CASE WHEN 2 * place BETWEEN known AND known + 2 THEN follower_count END) AS median_follower_count
FROM numbered
GROUP BY post_year, age_group
ORDER BY post_year ASC, age_group ASC, median_follower_count ASC NULLS LAST
