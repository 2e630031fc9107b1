-- Releases the lease, if this run still holds it.
--
-- KEYS[1]  the lease                 {<stream>}:reclaim:<group>:lease
--
-- ARGV[1]  the run's token
--
-- Returns 1, or 0 if the lease is no longer this run's.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
