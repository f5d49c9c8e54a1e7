#!/usr/bin/perl
# A Git server for tools/kubernetes-demo, in an image that has git and no web server: git-http-backend behind HTTP Basic.
# USER and PASSWORD are who may ask; it makes one repository, acme/app.git. One request for each connection. No more
# than a demonstration needs.
use strict;
use warnings;
use IO::Socket::INET;
use MIME::Base64;

my $home = '/tmp/git';
my $wanted = 'Basic ' . encode_base64("$ENV{USER}:$ENV{PASSWORD}", '');
$ENV{HOME} = $home;
my @by = map { ('-c', $_) } ('user.name=demo', 'user.email=demo@example.org', 'init.defaultBranch=main');
system('mkdir', '-p', "$home/acme") == 0 or die;
system('git', 'init', '-q', '--bare', '-b', 'main', "$home/acme/app.git") == 0 or die;
system('git', 'clone', '-q', "$home/acme/app.git", "$home/clone") == 0 or die;
open(my $file, '>', "$home/clone/README") or die;
print $file "Only who may see this sees it.\n";
close $file;
system('git', '-C', "$home/clone", 'add', 'README') == 0 or die;
system('git', '-C', "$home/clone", @by, 'commit', '-q', '-m', 'first') == 0 or die;
system('git', '-C', "$home/clone", 'push', '-q', 'origin', 'HEAD:main') == 0 or die;

my $listener = IO::Socket::INET->new(LocalPort => 8080, Listen => 64, ReuseAddr => 1) or die "cannot listen: $!";
$SIG{CHLD} = 'IGNORE';
$| = 1;
print "serving\n";
while (1) {
  my $client = $listener->accept or next;
  my $child = fork;
  if (defined $child && $child == 0) {
    serve($client);
    exit 0;
  }
  close $client;
}

sub serve {
  my ($client) = @_;
  local $SIG{CHLD} = 'DEFAULT';
  alarm 60;
  my $line = <$client> // return;
  my ($method, $target) = $line =~ m{^(\S+) (/\S*) HTTP/1\.} or return;
  my ($path, $query) = split /\?/, $target, 2;
  my %field;
  while (defined($line = <$client>) && $line =~ /^([^:\r\n]+):\s*(.*?)\r?$/) { $field{lc $1} = $2; }
  print "$method $path\n";
  if (($field{authorization} // '') ne $wanted) {
    print $client "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\n"
      . "Connection: close\r\n\r\n";
    return;
  }
  my $body = '';
  if (($field{'transfer-encoding'} // '') eq 'chunked') {
    while (my $size = hex((<$client> // '') =~ s/[\r\n;].*//sr)) {
      read($client, $body, $size, length $body);
      <$client>;
    }
  } elsif (my $size = $field{'content-length'}) {
    read($client, $body, $size);
  }
  open(my $kept, '+>', undef) or return;  # the program reads a file: nobody waits for anybody
  print $kept $body;
  seek($kept, 0, 0);
  my %cgi = (GIT_PROJECT_ROOT => $home, GIT_HTTP_EXPORT_ALL => 1, REQUEST_METHOD => $method, PATH_INFO => $path,
    QUERY_STRING => $query // '', CONTENT_TYPE => $field{'content-type'} // '', CONTENT_LENGTH => length $body,
    HTTP_CONTENT_ENCODING => $field{'content-encoding'} // '', GIT_PROTOCOL => $field{'git-protocol'} // '',
    REMOTE_USER => $ENV{USER});
  local @ENV{keys %cgi} = values %cgi;
  open(STDIN, '<&', $kept) or return;
  my $answer = do { local $/; open(my $from, '-|', 'git', 'http-backend') or return; <$from> };
  my ($head, $rest) = split /\r?\n\r?\n/, $answer, 2;
  my $status = $head =~ s/^Status: (.*?)\r?(\n|\z)//m ? $1 : '200 OK';
  $head =~ s/\r?\n/\r\n/g;
  print $client "HTTP/1.1 $status\r\n$head\r\nContent-Length: " . length($rest) . "\r\nConnection: close\r\n\r\n$rest";
}
