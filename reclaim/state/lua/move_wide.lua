-- Ends what XADD began before it in the same MULTI, for an entry with more fields than a script can pass on to XADD:
-- removes the entry from where it was, or takes back what was added. The preludes are added_prelude.lua, and
-- move_pending_prelude.lua or move_letter_prelude.lua.
--
-- The last of KEYS is the stream that the entry was added to. The other keys and the first two arguments are the prelude's.
--
-- ARGV[3]  the entry's ID where it is
-- ARGV[4]  its delivery count as we left it
-- ARGV[5]  how many names and values XADD was given
--
-- Returns the answer that move.lua has for an entry.

if redis.replicate_commands then redis.replicate_commands() end
local to = KEYS[#KEYS]
local copy, failure = added(to, ARGV[5])
if not copy then return failure end
local answer = look_at_groups() or refused(ARGV[3], ARGV[4]) or leave(ARGV[3])
answer = end_moves() or answer
if answer == 0 or answer == 2 or type(answer) == 'table' then redis.call('XDEL', to, copy) end
return answer
