-- How many users joined in each of the years 2015 to 2020?
--
-- join_year            year (UTC) in which the users joined
-- number_users_joined  rows of user that joined in that year, whether they posted or not
--
-- section: Followers and users
-- order: 10
-- title: Users who joined by year
-- chart: line x=join_year y=number_users_joined
WITH joined AS (
    SELECT EXTRACT(YEAR FROM date_joined) AS join_year
    FROM user
)

SELECT
    join_year,
    COUNT(*) AS number_users_joined
FROM joined
WHERE join_year BETWEEN 2015 AND 2020
GROUP BY join_year
ORDER BY join_year ASC, number_users_joined ASC
