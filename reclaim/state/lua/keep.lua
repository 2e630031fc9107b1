-- Sets idle time and delivery count of entries that are still our consumer's with the count that we left.
--
-- From Redis 7 on XCLAIM drops an entry that is gone from the stream from the pending list. Then it is recorded as lost,
-- at one stroke; a ledger that takes nothing keeps no other entry from being set.
--
-- KEYS[1]  the stream                <stream>
-- KEYS[2]  the lost entries          {<stream>}:reclaim:<group>:lost
--
-- ARGV[1]  the group
-- ARGV[2]  our consumer
-- ARGV[3]  now, Unix ms
-- ARGV[4]  how many lost entries are kept, about
-- ARGV[5]… five for each entry: its ID; its delivery count as we left it; IDLE and its new idle time, ms, or TIME and the
--          moment since when it is to have been idle, Unix ms; its new delivery count
--
-- Returns {the IDs that are no longer ours; rows recorded as lost, as XPENDING gives them, each followed by the ledger's
-- ID for it, or by nil where the ledger took nothing}.

local gone, lost = {}, {}
for at = 5, #ARGV, 5 do
  local id = ARGV[at]
  local row = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
  if not row or row[2] ~= ARGV[2] or row[4] ~= tonumber(ARGV[at + 1]) then
    gone[#gone + 1] = id
  else
    local kept = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id,
      ARGV[at + 2], ARGV[at + 3], 'RETRYCOUNT', ARGV[at + 4], 'JUSTID')
    if #kept == 0 then
      local added = record_lost(row, ARGV[3], ARGV[4])
      row[5] = type(added) ~= 'table' and added
      lost[#lost + 1] = row
    end
  end
end
return {gone, lost}
