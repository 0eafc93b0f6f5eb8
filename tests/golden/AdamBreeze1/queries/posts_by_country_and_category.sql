-- AdamBreeze1, cell 4: every category of every country, not only the most popular one.
SELECT
    geo.country,
    pin.category,
    COUNT(*) AS category_count
FROM pin
INNER JOIN geo ON geo.ind = pin.ind
GROUP BY geo.country, pin.category
