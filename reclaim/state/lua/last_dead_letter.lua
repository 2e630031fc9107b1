-- Names the newest dead letter, without its body, which may be large.
--
-- KEYS[1]  the dead letters          {<stream>}:reclaim:<group>:dead
--
-- Returns its ID; nil where there is none.

local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
return newest and newest[1]
