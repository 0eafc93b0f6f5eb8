-- median_followers_by_join_year_and_age_group.sql, but with the label 50+ in place of +50.
WITH posts AS (
    SELECT
        EXTRACT(YEAR FROM users.date_joined) AS join_year,
        CASE
            WHEN users.age BETWEEN 18 AND 24 THEN '18-24'
            WHEN users.age BETWEEN 25 AND 35 THEN '25-35'
            WHEN users.age BETWEEN 36 AND 50 THEN '36-50'
            WHEN users.age > 50 THEN '50+'
        END AS age_group,
        pin.follower_count
    FROM pin
    INNER JOIN user AS users ON users.ind = pin.ind
),

numbered AS (
    SELECT
        join_year,
        age_group,
        follower_count,
        ROW_NUMBER() OVER (PARTITION BY join_year, age_group ORDER BY follower_count ASC NULLS LAST) AS place,
        COUNT(follower_count) OVER (PARTITION BY join_year, age_group) AS known
    FROM posts
    WHERE join_year BETWEEN 2015 AND 2020 AND age_group IS NOT NULL
)

SELECT
    join_year,
    age_group,
    AVG(CASE WHEN 2 * place BETWEEN known AND known + 2 THEN follower_count END) AS median_follower_count
FROM numbered
GROUP BY join_year, age_group
ORDER BY join_year ASC, age_group ASC, median_follower_count ASC NULLS LAST
