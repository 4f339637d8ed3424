\set id random(0, :keys - 1) + 1000000000
\set r random(0, 99999)
INSERT INTO items (k, v) VALUES ('item-' || :id, ('{"worker":1,"city":"Amsterdam","price":451.07,"stock":' || :r || ',"note":"6b8b4567327b23c6","seen":"2024-05-17T12:00:00Z"}')::jsonb) ON CONFLICT (k) DO UPDATE SET v = excluded.v;
