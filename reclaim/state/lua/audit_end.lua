-- Puts the record of what was done into the place of the record of what was begun. Where it cannot be added, the other
-- one stays.
--
-- KEYS[1]  the audit                 {<stream>}:reclaim:<group>:audit
--
-- ARGV[1]  the ID of the record of what was begun
-- ARGV[2]… what XADD gets behind the key
--
-- Returns the new one's ID.

if redis.replicate_commands then redis.replicate_commands() end
local added = redis.pcall('XADD', KEYS[1], unpack(ARGV, 2))
if type(added) == 'string' then redis.call('XDEL', KEYS[1], ARGV[1]) end
return added
