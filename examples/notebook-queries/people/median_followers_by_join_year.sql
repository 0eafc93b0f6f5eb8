-- median_followers_by_join_year.sql, but over people instead of posts: a person with several posts counts once for
-- each follower count. An exact median all the same.
--
-- A person is a user_name with an age and a date_joined: user has a row for each post, with the person who made it.
WITH people AS (
    SELECT DISTINCT
        users.user_name,
        users.age,
        users.date_joined,
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
    FROM people
    WHERE join_year BETWEEN 2015 AND 2020
)

SELECT
    join_year,
    AVG(CASE WHEN 2 * place BETWEEN known AND known + 2 THEN follower_count END) AS median_follower_count
FROM numbered
GROUP BY join_year
ORDER BY join_year ASC, median_follower_count ASC NULLS LAST
