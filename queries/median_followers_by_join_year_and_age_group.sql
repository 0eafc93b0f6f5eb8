-- What is the median number of followers behind the posts of each age group among the users who joined in each of
-- the years 2015 to 2020?
--
-- join_year              year (UTC) in which the users joined
-- age_group              18-24, 25-35, 36-50 or +50 (51 and above); users under 18 or of unknown age are excluded
-- median_follower_count  exact median over posts (of an even number, the mean of the middle two);
--                        unknown counts are ignored; null when a group has no known count
--
-- A post is a row of pin, joined with the rows of user of the same number (ind).
--
-- section: Followers and users
-- order: 8
-- title: Median followers by year of joining and age group
-- chart: grouped x=join_year y=median_follower_count by=age_group order=18-24,25-35,36-50,+50
WITH posts AS (
    SELECT
        EXTRACT(YEAR FROM users.date_joined) AS join_year,
        CASE
            WHEN users.age BETWEEN 18 AND 24 THEN '18-24'
            WHEN users.age BETWEEN 25 AND 35 THEN '25-35'
            WHEN users.age BETWEEN 36 AND 50 THEN '36-50'
            WHEN users.age > 50 THEN '+50'
        END AS age_group,
        pin.follower_count
    FROM pin
    INNER JOIN user AS users ON users.ind = pin.ind
)

SELECT
    join_year,
    age_group,
    MEDIAN(follower_count) AS median_follower_count
FROM posts
WHERE join_year BETWEEN 2015 AND 2020 AND age_group IS NOT NULL
GROUP BY join_year, age_group
ORDER BY join_year ASC, age_group ASC, median_follower_count ASC NULLS LAST
