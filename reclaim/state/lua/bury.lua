-- Records entries that are pending and gone from the stream as lost, and acknowledges them away. With 'claim' it claims
-- the other entries too. Without it, it ends early where nothing can have been deleted.
--
-- From Redis 7 on XCLAIM drops an entry that is gone from the stream without a word, so it must be recorded before, in
-- one step with XCLAIM. XCLAIM is kept away from an entry that could not be recorded.
--
-- KEYS[1]  the stream                <stream>
-- KEYS[2]  the lost entries          {<stream>}:reclaim:<group>:lost
--
-- ARGV[1]  the group
-- ARGV[2]  our consumer
-- ARGV[3]  the least idle time, ms
-- ARGV[4]  now, Unix ms
-- ARGV[5]  how many lost entries are kept, about
-- ARGV[6]  'claim' or ''
-- ARGV[7]… the IDs, ascending
--
-- Returns {rows recorded as XPENDING gives them, or nil if it ended early; entries as XCLAIM gives them; nil, or why some
-- were not recorded}.

local function is_less(a, b)
  local a_ms, a_seq = a:match('(%d+)-(%d+)')
  local b_ms, b_seq = b:match('(%d+)-(%d+)')
  if a_ms == b_ms then a_ms, b_ms = a_seq, b_seq end
  if #a_ms ~= #b_ms then return #a_ms < #b_ms end
  return a_ms < b_ms
end
local group, consumer, least, claims = ARGV[1], ARGV[2], ARGV[3], ARGV[6] == 'claim'
local info, facts = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for at = 1, #info, 2 do facts[info[at]] = info[at + 1] end
local first, deleted = facts['first-entry'], facts['max-deleted-entry-id']
local is_whole = first and deleted and is_less(deleted, ARGV[7]) and not is_less(ARGV[7], first[1])
if is_whole and not claims then return {false, false, false} end
local lost, left, failure = {}, {}, false
for at = 7, #ARGV do
  local id = ARGV[at]
  if is_whole or #redis.call('XRANGE', KEYS[1], id, id) > 0 then
    left[#left + 1] = id
  else
    local row = redis.call('XPENDING', KEYS[1], group, id, id, 1)[1]
    if row and (row[3] >= tonumber(least) or row[3] < 0) then
      local added = record_lost(id, row[2], row[3], row[4], ARGV[4], ARGV[5])
      if type(added) == 'table' then
        failure = added.err
      else
        redis.call('XACK', KEYS[1], group, id)
        lost[#lost + 1] = row
      end
    end
  end
end
local claimed = {}
if claims and #left > 0 then claimed = redis.call('XCLAIM', KEYS[1], group, consumer, least, unpack(left)) end
return {lost, claimed, failure}
