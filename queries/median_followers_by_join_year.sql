-- What is the median number of followers behind the posts of the users who joined in each of the years 2015 to 2020?
--
-- join_year              year (UTC) in which the users joined
-- median_follower_count  exact median over posts (of an even number, the mean of the middle two);
--                        unknown counts are ignored; null when a year has no known count
--
-- A post is a row of pin, joined with the rows of user of the same number (ind).
--
-- section: Followers and users
-- order: 9
-- title: Median followers by year of joining
-- chart: line x=join_year y=median_follower_count
WITH posts AS (
    SELECT
        EXTRACT(YEAR FROM users.date_joined) AS join_year,
        pin.follower_count
    FROM pin
    INNER JOIN user AS users ON users.ind = pin.ind
)

SELECT
    join_year,
    MEDIAN(follower_count) AS median_follower_count
FROM posts
WHERE join_year BETWEEN 2015 AND 2020
GROUP BY join_year
ORDER BY join_year ASC, median_follower_count ASC NULLS LAST
