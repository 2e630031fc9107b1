-- Ends what XADD began before it in the same MULTI, for a dead letter with more fields than a script can pass on to XADD:
-- removes the letter that the new one replaces. If somebody has removed that meanwhile, it takes the new one back. The
-- prelude is added_prelude.lua.
--
-- KEYS[1]  the dead letters          {<stream>}:reclaim:<group>:dead
--
-- ARGV[1]  the dead letter's ID
-- ARGV[2]  how many names and values XADD was given
--
-- Returns as amend.lua does.

if redis.replicate_commands then redis.replicate_commands() end
local letter, failure = added(KEYS[1], ARGV[2])
if not letter then return failure end
if redis.call('XDEL', KEYS[1], ARGV[1]) == 1 then return letter end
redis.call('XDEL', KEYS[1], letter)
return false
