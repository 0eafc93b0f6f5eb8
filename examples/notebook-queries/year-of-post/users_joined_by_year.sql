-- users_joined_by_year.sql, but by the year of the post instead of the year in which its user joined: it counts the
-- rows of user whose post has that year.
WITH posted AS (
    SELECT EXTRACT(YEAR FROM geo.timestamp) AS post_year
    FROM user AS users
    INNER JOIN geo ON geo.ind = users.ind
)

SELECT
    post_year,
    COUNT(*) AS number_users_joined
FROM posted
WHERE post_year BETWEEN 2015 AND 2020
GROUP BY post_year
ORDER BY post_year ASC, number_users_joined ASC
