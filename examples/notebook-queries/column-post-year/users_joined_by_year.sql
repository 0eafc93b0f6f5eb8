-- users_joined_by_year.sql, but with the year of joining in a column post_year, as the old task named it.
WITH joined AS (
    SELECT EXTRACT(YEAR FROM date_joined) AS post_year
    FROM user
)

SELECT
    post_year,
    COUNT(*) AS number_users_joined
FROM joined
WHERE post_year BETWEEN 2015 AND 2020
GROUP BY post_year
ORDER BY post_year ASC, number_users_joined ASC
