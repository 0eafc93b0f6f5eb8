-- Which category was posted most often in each of the years 2018 to 2022?
--
-- post_year       year (UTC) in which the posts were made
-- category        the year's most frequent category; several rows when several tie for first place
-- category_count  number of posts of that category in that year
--
-- The most frequent categories of posts_by_year_and_category.
--
-- section: Categories
-- order: 3
-- title: Most popular category by year
-- chart: bar x=post_year y=category_count label=category unit=posts
WITH posts AS (
    SELECT
        EXTRACT(YEAR FROM geo.timestamp) AS post_year,
        pin.category
    FROM pin
    INNER JOIN geo ON geo.ind = pin.ind
),

counted AS (
    SELECT
        post_year,
        category,
        COUNT(*) AS category_count
    FROM posts
    WHERE post_year BETWEEN 2018 AND 2022
    GROUP BY post_year, category
),

ranked AS (
    SELECT
        post_year,
        category,
        category_count,
        RANK() OVER (PARTITION BY post_year ORDER BY category_count DESC) AS place
    FROM counted
)

SELECT
    post_year,
    category,
    category_count
FROM ranked
WHERE place = 1
ORDER BY post_year ASC, category ASC NULLS LAST, category_count ASC
