-- Ends what XADD began before it in the same MULTI, for an entry with more fields than a script can pass on to XADD:
-- removes the entry from where it was, or takes back what was added. The prelude is move_pending_prelude.lua or
-- move_letter_prelude.lua.
--
-- If XADD failed, this script is run all the same. Then the stream's newest entry cannot be read either, or its ID is the
-- greatest there is.
--
-- The last of KEYS is the stream that the entry was added to. The other keys and the first two arguments are the prelude's.
--
-- ARGV[3]  the entry's ID where it is
-- ARGV[4]  its delivery count as we left it
--
-- Returns the answer that move.lua has for an entry.

if redis.replicate_commands then redis.replicate_commands() end
local to = KEYS[#KEYS]
local newest = redis.pcall('XREVRANGE', to, '+', '-', 'COUNT', 1)
if newest.err then return newest end
local added = newest[1] and newest[1][1]
if not added or added == '18446744073709551615-18446744073709551615' then
  return redis.error_reply('ERR the stream has come to its last ID')
end
local answer = look_at_groups() or refused(ARGV[3], ARGV[4]) or leave(ARGV[3])
answer = end_moves() or answer
if answer == 0 or answer == 2 or type(answer) == 'table' then redis.call('XDEL', to, added) end
return answer
