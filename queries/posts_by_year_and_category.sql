-- How many posts did each category get in each of the years 2018 to 2022?
--
-- post_year       year (UTC) in which the post was made
-- category        category of the post; posts without a category are one group (null)
-- category_count  number of posts
--
-- A post is a row of pin, joined with the rows of geo of the same number (ind).
--
-- section: Categories
-- order: 2
-- title: Posts by year and category
-- chart: stacked x=post_year y=category_count by=category unit=posts
WITH posts AS (
    SELECT
        EXTRACT(YEAR FROM geo.timestamp) AS post_year,
        pin.category
    FROM pin
    INNER JOIN geo ON geo.ind = pin.ind
)

SELECT
    post_year,
    category,
    COUNT(*) AS category_count
FROM posts
WHERE post_year BETWEEN 2018 AND 2022
GROUP BY post_year, category
ORDER BY post_year ASC, category ASC NULLS LAST, category_count ASC
