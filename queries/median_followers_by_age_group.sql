-- What is the median number of followers behind the posts of each age group?
--
-- age_group              18-24, 25-35, 36-50 or +50 (51 and above); users under 18 or of unknown age are excluded
-- median_follower_count  exact median over posts (of an even number, the mean of the middle two);
--                        unknown counts are ignored; null when a group has no known count
--
-- A post is a row of pin, joined with the rows of user of the same number (ind).
--
-- section: Followers and users
-- order: 6
-- title: Median followers by age group
-- chart: bar x=age_group y=median_follower_count order=18-24,25-35,36-50,+50
WITH posts AS (
    SELECT
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
    age_group,
    MEDIAN(follower_count) AS median_follower_count
FROM posts
WHERE age_group IS NOT NULL
GROUP BY age_group
ORDER BY age_group ASC, median_follower_count ASC NULLS LAST
