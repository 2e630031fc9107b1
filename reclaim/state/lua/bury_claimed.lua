-- Records entries that were claimed without a body as lost, and acknowledges them away. Before Redis 7 XCLAIM takes an
-- entry that is gone from the stream like any other, so it is recorded after the claim.
--
-- KEYS[1]  the stream                <stream>
-- KEYS[2]  the lost entries          {<stream>}:reclaim:<group>:lost
--
-- ARGV[1]  the group
-- ARGV[2]  our consumer
-- ARGV[3]  now, Unix ms
-- ARGV[4]  how many lost entries are kept, about
-- ARGV[5]… four for each entry: its ID; its consumer, idle ms and deliveries before the claim
--
-- Returns the IDs recorded.

local lost = {}
for at = 5, #ARGV, 4 do
  local id = ARGV[at]
  local row = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
  if row and row[2] == ARGV[2] and #redis.call('XRANGE', KEYS[1], id, id) == 0 then
    local added = record_lost(id, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[3], ARGV[4])
    if type(added) == 'table' then return added end
    redis.call('XACK', KEYS[1], ARGV[1], id)
    lost[#lost + 1] = id
  end
end
return lost
