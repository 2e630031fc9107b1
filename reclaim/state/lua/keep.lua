-- Sets idle time and delivery count of entries that are still our consumer's with the count that we left.
--
-- An entry that is gone from the stream is left as it is: from Redis 7 on XCLAIM would drop it unrecorded.
--
-- KEYS[1]  the stream                <stream>
--
-- ARGV[1]  the group
-- ARGV[2]  our consumer
-- ARGV[3]… four for each entry: its ID; its delivery count as we left it; its new idle time, ms; its new delivery count
--
-- Returns the IDs that are no longer ours.

if redis.replicate_commands then redis.replicate_commands() end
local gone = {}
for at = 3, #ARGV, 4 do
  local id = ARGV[at]
  local row = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
  if not row or row[2] ~= ARGV[2] or row[4] ~= tonumber(ARGV[at + 1]) then
    gone[#gone + 1] = id
  elseif #redis.call('XRANGE', KEYS[1], id, id) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id,
      'IDLE', ARGV[at + 2], 'RETRYCOUNT', ARGV[at + 3], 'JUSTID')
  end
end
return gone
