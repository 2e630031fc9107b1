-- Replaces a dead letter by an amended one, unless somebody has removed it meanwhile. Whether it is there is known when
-- it is removed, so the new one is added first.
--
-- KEYS[1]  the dead letters          {<stream>}:reclaim:<group>:dead
--
-- ARGV[1]  the dead letter's ID
-- ARGV[2]… the new one's names and values in turn
--
-- Returns the new one's ID, or nil.

if redis.replicate_commands then redis.replicate_commands() end
local added = redis.pcall('XADD', KEYS[1], '*', unpack(ARGV, 2))
if type(added) == 'table' then return added end
if redis.call('XDEL', KEYS[1], ARGV[1]) == 1 then return added end
redis.call('XDEL', KEYS[1], added)
return false
