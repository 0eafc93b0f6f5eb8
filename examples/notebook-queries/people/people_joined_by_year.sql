-- The sibling of users_joined_by_year.sql: how many people joined in each of the years 2015 to 2020?
--
-- join_year             year (UTC) in which the people joined
-- number_people_joined  people that joined in that year, whether they posted or not
--
-- A person is a user_name with an age and a date_joined: user has a row for each post, with the person who made it.
-- Notebooks that drop ind and take the distinct rows, or use countDistinct, count so.
WITH people AS (
    SELECT DISTINCT
        user_name,
        age,
        EXTRACT(YEAR FROM date_joined) AS join_year,
        date_joined
    FROM user
)

SELECT
    join_year,
    COUNT(*) AS number_people_joined
FROM people
WHERE join_year BETWEEN 2015 AND 2020
GROUP BY join_year
ORDER BY join_year ASC, number_people_joined ASC
