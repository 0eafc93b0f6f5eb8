-- popular_category_by_country.sql, but with all categories of a country instead of the most frequent ones.
SELECT
    geo.country,
    pin.category,
    COUNT(*) AS category_count
FROM pin
INNER JOIN geo ON geo.ind = pin.ind
GROUP BY geo.country, pin.category
ORDER BY country ASC NULLS LAST, category ASC NULLS LAST, category_count ASC
