-- AdamBreeze1, cell 6, first table: joins all three tables, names the user by user.user_name instead of
-- pin.poster_name, and ranks posts (not posters), so that posts with unknown counts rank last but are kept.
WITH ranked AS (
    SELECT
        geo.country,
        users.user_name,
        pin.follower_count,
        RANK() OVER (PARTITION BY geo.country ORDER BY pin.follower_count DESC NULLS LAST) AS place
    FROM user AS users
    INNER JOIN pin ON pin.ind = users.ind
    INNER JOIN geo ON geo.ind = users.ind
)

SELECT DISTINCT
    country,
    user_name,
    follower_count
FROM ranked
WHERE place = 1
