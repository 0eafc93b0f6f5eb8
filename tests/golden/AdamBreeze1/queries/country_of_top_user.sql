-- AdamBreeze1, cell 6, second table: groups by user_name and returns one row, although American Samoa and Angola tie.
SELECT
    geo.country,
    users.user_name,
    pin.follower_count
FROM user AS users
INNER JOIN pin ON pin.ind = users.ind
INNER JOIN geo ON geo.ind = users.ind
ORDER BY pin.follower_count DESC NULLS LAST, geo.country ASC
LIMIT 1
