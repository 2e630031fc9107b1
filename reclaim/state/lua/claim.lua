-- Claims pending entries without their bodies, and records those as lost that are gone from the stream.
--
-- From Redis 7 on XCLAIM drops an entry that is gone from the stream from the pending list without a word. So the script
-- notes what is pending, lets XCLAIM do it, and records what has vanished: at one stroke, which also means that the
-- server does not refuse the record for lack of memory, as a script that has begun to write may go on. Before Redis 7
-- XCLAIM takes such an entry like any other; so the entries that were not found in the stream come apart from the others,
-- and are acknowledged away when they have been recorded.
--
-- KEYS[1]  the stream                <stream>
-- KEYS[2]  the lost entries          {<stream>}:reclaim:<group>:lost
--
-- ARGV[1]  the group
-- ARGV[2]  our consumer
-- ARGV[3]  the least idle time, ms
-- ARGV[4]  now, Unix ms
-- ARGV[5]  how many lost entries are kept, about
-- ARGV[6]… in groups: a delivery count; how many entries were found with it, and in the stream; how many were found with
--          it, and not in the stream; the IDs of the first, ascending; the IDs of the others
--
-- Returns {IDs claimed, or nil if all were; rows recorded as lost, as XPENDING gives them; nil, or why some could not be
-- recorded}. An entry that is not idle any more, has another delivery count or is no longer pending is left as it is.

local group, consumer, least = ARGV[1], ARGV[2], ARGV[3]
local claimed, lost, failure, takes_nothing = {}, {}, false, ledger_failure()

local function row_of(id)
  return redis.call('XPENDING', KEYS[1], group, id, id, 1)[1]
end

local function xclaim(ids, deliveries, ...)
  local call = {'XCLAIM', KEYS[1], group, consumer, least}
  for at, id in ipairs(ids) do call[5 + at] = id end
  for _, word in ipairs({'RETRYCOUNT', deliveries + 1, ...}) do call[#call + 1] = word end
  return redis.call(unpack(call))
end

local function record(row)
  local added = record_lost(row, ARGV[4], ARGV[5])
  if type(added) == 'table' then failure = added.err end
  lost[#lost + 1] = row
  return type(added) ~= 'table'
end

-- Somebody may have set a count so high that nothing can be added to it (find.py reads it in the same way).
local function counted(deliveries)
  return deliveries <= 2 * 10 ^ 9 and deliveries or 10 ^ 9
end

local function is_as_found(row, deliveries)
  return row and counted(row[4]) == deliveries and (row[3] >= tonumber(least) or row[3] < 0)
end

local function claim(first, last, deliveries)
  local rows, ids = {}, {}
  for _, row in ipairs(redis.call('XPENDING', KEYS[1], group, ARGV[first], ARGV[last], last - first + 1)) do
    rows[row[1]] = row
  end
  for at = first, last do
    local id = ARGV[at]
    rows[id] = rows[id] or row_of(id)
    if is_as_found(rows[id], deliveries) then ids[#ids + 1] = id end
  end
  if #ids == 0 then return end
  local taken, next_taken = xclaim(ids, deliveries, 'JUSTID'), 1
  for _, id in ipairs(ids) do
    if taken[next_taken] == id then
      claimed[#claimed + 1] = id
      next_taken = next_taken + 1
    elseif not row_of(id) then
      record(rows[id])
    end
  end
end

local at, found = 6, 0
while at <= #ARGV do
  local deliveries, there, gone = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  found = found + there + gone
  if there > 0 then claim(at + 3, at + 2 + there, deliveries) end
  at = at + 3 + there
  for id_at = at, at + gone - 1 do
    local id = ARGV[id_at]
    local row = row_of(id)
    if is_as_found(row, deliveries) then
      if takes_nothing then
        failure = takes_nothing
      elseif xclaim({id}, deliveries)[1] then
        claimed[#claimed + 1] = id
      elseif record(row) then
        redis.call('XACK', KEYS[1], group, id)
      end
    end
  end
  at = at + gone
end
return {#claimed < found and claimed, lost, failure}
