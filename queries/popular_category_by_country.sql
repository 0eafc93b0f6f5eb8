-- Which category is posted most often in each country?
--
-- country         name of the country; posts without a country are one group (null)
-- category        the country's most frequent category; several rows when several tie for first place
-- category_count  number of posts of that category in that country
--
-- A post is a row of pin, joined with the rows of geo of the same number (ind).
--
-- section: Categories
-- order: 1
-- title: Most popular category by country
-- chart: bar x=country y=category_count label=category unit=posts
WITH counted AS (
    SELECT
        geo.country,
        pin.category,
        COUNT(*) AS category_count
    FROM pin
    INNER JOIN geo ON geo.ind = pin.ind
    GROUP BY geo.country, pin.category
),

ranked AS (
    SELECT
        country,
        category,
        category_count,
        RANK() OVER (PARTITION BY country ORDER BY category_count DESC) AS place
    FROM counted
)

SELECT
    country,
    category,
    category_count
FROM ranked
WHERE place = 1
ORDER BY country ASC NULLS LAST, category ASC NULLS LAST, category_count ASC
