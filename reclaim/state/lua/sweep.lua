-- Removes consumers that have nothing pending when it is their turn, whatever was true when they were chosen.
--
-- KEYS[1]  the stream                <stream>
--
-- ARGV[1]  the group
-- ARGV[2]… the consumers' names
--
-- Returns the names removed.

if redis.replicate_commands then redis.replicate_commands() end
local swept = {}
for at = 2, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[at]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[at])
    swept[#swept + 1] = ARGV[at]
  end
end
return swept
