-- posts_by_year_and_category.sql, but of all years instead of 2018 to 2022. Posts without a known year are one group
-- (null).
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
GROUP BY post_year, category
ORDER BY post_year ASC NULLS LAST, category ASC NULLS LAST, category_count ASC
